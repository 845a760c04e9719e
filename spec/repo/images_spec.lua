--- The pictures of README and the documents: those that are named are there, in a form that is small, and all that are
--- there are named. `make screenshots` takes them; what they show is not compared.
local tree = require("spec.support.tree")

local STILL_BYTES, FILM_BYTES, WIDTH = 150 << 10, 1 << 20, 1280

-- A picture's kind and width, from its first bytes.
local function look(bytes)
  if bytes:sub(1, 4) ~= "RIFF" or bytes:sub(9, 12) ~= "WEBP" then return "no WebP" end
  local kind = bytes:sub(13, 16)
  if kind == "VP8L" then return "still", (("<I4"):unpack(bytes, 22) & 0x3fff) + 1 end
  if kind == "VP8X" and bytes:byte(21) & 2 ~= 0 then return "film", (("<I3"):unpack(bytes, 25)) + 1 end
  return "another WebP: " .. kind
end

-- path -> the document that names it.
local function named()
  local list = {}
  for _, path in ipairs(tree.files("^[%w/_.-]+%.md$")) do
    local folder = path:match("^(.*/)") or ""
    local text = tree.read(path)
    local function add(name)
      if name:find("^%a+:") then return end
      local whole = folder .. name
      while whole:find("[^/]+/%.%./") do whole = whole:gsub("[^/]+/%.%./", "", 1) end
      list[whole] = path
    end
    for name in text:gmatch("!%[[^%]]*%]%(([^)%s]+)%)") do add(name) end
    for name in text:gmatch('src="([^"]+)"') do if name:find("%.webp$") then add(name) end end
    for name in text:gmatch('srcset="([^"]+)"') do add(name) end
  end
  return list
end

describe("the pictures of the documents", function()
  it("are there, small, and of the form that make screenshots writes", function()
    local count, films = 0, 0
    for path, document in pairs(named()) do
      local where = path .. ", named in " .. document
      local file = assert(io.open(path, "rb"), where)
      local bytes = file:read("a")
      file:close()
      local kind, width = look(bytes)
      if kind == "film" then
        films = films + 1
        assert.is_true(#bytes <= FILM_BYTES, where)
      else
        assert.same({ "still", WIDTH }, { kind, width }, where)
        assert.is_true(#bytes <= STILL_BYTES, where)
      end
      count = count + 1
    end
    assert.is_true(count > 10)
    assert.equal(1, films)
  end)

  it("are named, each in the light and the dark", function()
    local list = named()
    for _, path in ipairs(tree.files("^doc/images/")) do
      assert.is_truthy(list[path], path .. " is named nowhere")
      local other = path:find("%-light%.") and path:gsub("%-light", "-dark") or path:gsub("%-dark", "-light")
      assert.is_truthy(list[other], other .. " is missing")
    end
  end)
end)
