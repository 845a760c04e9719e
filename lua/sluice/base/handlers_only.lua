--- Guards that make sense for handlers with a whole body only, by what their user calls them: to
-- guard a stream, or a route whose body comes in pieces, with one is refused at load. In memory: as
-- long as the guards.
return setmetatable({}, { __mode = "k" })
