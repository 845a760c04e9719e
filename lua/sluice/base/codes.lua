--- One table of error codes and the HTTP statuses they become.
-- Keeps nothing in memory. doc/api/requests.md lists the same codes.
local codes = {}

--- Status of each code that a function of the API returns third.
codes.STATUS = {
  EINVAL = 400, ECHANNEL = 400, EJSON = 400, EPATTERN = 400,
  EAUTH = 401,
  EDENIED = 403,
  ENOTFOUND = 404,
  EMETHOD = 405,
  ETRIMMED = 410,
  ETOOBIG = 413,
  EMEDIA = 415,
  EBADFIELD = 422, EKEY = 422, ECONFLICT = 422,
  ERATE = 429,
  EINTERNAL = 500, ELOOP = 500,
  ECONNECT = 502, EUPSTREAM = 502, EREFUSED = 502,
  EBUSY = 503, EFULL = 503, ESTORE = 503, ENOMEM = 503,
  ETIMEOUT = 504,
}

-- The code that stands in an error body when the app gave a status only.
local CODE = {
  [400] = "EINVAL", [401] = "EAUTH", [403] = "EDENIED", [404] = "ENOTFOUND", [405] = "EMETHOD",
  [409] = "ECONFLICT", [413] = "ETOOBIG", [415] = "EMEDIA", [422] = "EBADFIELD", [429] = "ERATE",
  [500] = "EINTERNAL", [502] = "EUPSTREAM", [503] = "EBUSY", [504] = "ETIMEOUT",
}

--- The status for a code; 500 for one that is not known.
-- @tparam string|nil code
-- @treturn integer
function codes.status(code)
  return codes.STATUS[code] or 500
end

--- The body of an error answer.
-- @tparam integer status
-- @tparam string message
-- @tparam[opt] string code
-- @tparam[opt] string field the field of the request that is wrong
-- @treturn table
function codes.body(status, message, code, field)
  code = code or CODE[status] or "E" .. status
  return { error = { code = code, message = message, field = field } }
end

return codes
