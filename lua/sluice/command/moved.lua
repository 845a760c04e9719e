--- Where an answer sends who asked, for commands that ask one address. Keeps nothing in memory.
local moved = {}

--- The address of a redirect; one of the same server comes without its beginning.
-- @tparam string url that was asked
-- @tparam table answer with `status` and `headers`
-- @treturn string|nil nil: it is no redirect
function moved.to(url, answer)
  local to = answer.headers.location
  if answer.status // 100 ~= 3 or not to then return nil end
  return to:find("^/[^/]") and url:match("^%a+://[^/?#]*") .. to or to
end

--- The same, in words; "" when it is none.
function moved.text(url, answer)
  local to = moved.to(url, answer)
  return to and ("it is at %s: give that address"):format(to) or ""
end

return moved
