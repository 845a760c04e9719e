--- The planted bugs (csrc/base/planted.h) that a run with kills must find in a running server; what each
--- is stands where they were planted.
local fan = require("spec.property.planted")
local store = require("spec.store.planted")

local bugs = {}
for _, n in ipairs { 3, 4, 5, 11, 30, 33 } do bugs[n] = fan[n] end
for _, n in ipairs { 201, 205, 206, 215, 218 } do bugs[n] = store[n] end
return bugs
