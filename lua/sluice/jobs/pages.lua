--- The stream and the endpoints of sluice.jobs. Keeps nothing in memory.
local job = require("sluice.jobs.job")
local owned = require("sluice.base.owned")
local telling = require("sluice.jobs.telling")
local work = require("sluice.jobs.work")

local pages = {}

-- What owned.find and owned.routes need to know.
local function shown(self)
  return { what = "job", admin = self.o.admin, get = function(id) return self.book:find(id) end,
    list = function(filter) return self.book:list(filter.owner) end,
    show = job.show,
    stop = function(row)
      local ok, message, code = self:cancel(row.id)
      if not ok and code ~= "ECONFLICT" then return nil, message, code end
      row = self.book:find(row.id) or row
      return row.ended and 200 or 202, job.show(row)
    end }
end

--- Register a stream of the user's jobs; with `:id` in the path, or ?jobId=, of one job, for its
-- owner and those with the role: how far it is, at once, and its end, with which the stream ends.
-- @function Jobs:stream
-- @tparam string path
-- @param ... guards
function pages.stream(self, path, ...)
  local list, o = table.pack(...), shown(self)
  list[list.n + 1] = owned.admit
  list[list.n + 2] = function(req)
    if self.away:has_book() then self.book:ready() end
    local id = req.params.id or req.query.jobId
    if id == nil then return { channels = { self:channel(req.user.id) } } end
    local row = owned.find(req, id, o)
    work.tell_again(self, row)
    return { channels = { { telling.channel(self, row.owner), keys = { row.id } } },
      meta = { job = row.id } }
  end
  self.app:stream(path, table.unpack(list, 1, list.n + 2))
end

--- A stream has opened: one of a job that is over ends with what it gets at once.
function pages.look(self, client)
  local row = client.meta.job and self.book:find(client.meta.job)
  if row and row.ended then client:stop() end
end

--- Register GET prefix (the user's jobs: { total, jobs }; with the role `?owner=` of somebody else,
-- or `*`), GET prefix/:id and DELETE prefix/:id (cancels): for the owner and those with the role.
-- @function Jobs:routes
-- @tparam string prefix
-- @param ... guards
function pages.routes(self, prefix, ...)
  owned.routes(self.app, prefix, table.pack(...), shown(self))
end

return pages
