--- Who a visitor is: what the page says, X-User and X-User-Name (UTF-8, percent-encoded). Nothing
--- proves it, as in a document that anybody with its link may edit. Where it must be proved, give
--- the routes another guard, as auth:user() of sluice.auth: tabs of one user are then one member.
local function decoded(text)
  return (text:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

return function(req)
  local id, name = req.headers["x-user"], decoded(req.headers["x-user-name"] or "")
  if not id and req.user then return true end
  if not id then return 401, "X-User is missing: who are you?" end
  if not id:find("^[%w._-]+$") or #id > 40 then
    return 422, "X-User: 1 to 40 letters, digits and . _ - are expected"
  elseif (utf8.len(name) or 99) > 40 or name:find("%c") then
    return 422, "X-User-Name: at most 40 characters of UTF-8 are expected"
  end
  req.user = { id = id, name = name ~= "" and name or id }
  return true
end
