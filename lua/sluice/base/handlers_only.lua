--- Guards that make sense for handlers only, by what their user calls them: to guard a stream with
-- one is refused at load. In memory: as long as the guards.
return setmetatable({}, { __mode = "k" })
