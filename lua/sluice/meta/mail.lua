---@meta sluice.mail
--- For editors (see init.lua): require("sluice.mail").
-- luacheck: ignore

---@alias sluice.MailAddress string|{ name?: string, address: string }

---@class sluice.MailOptions
---@field to? sluice.MailAddress|sluice.MailAddress[]
---@field cc? sluice.MailAddress|sluice.MailAddress[]
---@field bcc? sluice.MailAddress|sluice.MailAddress[]
---@field from? sluice.MailAddress SMTP_FROM
---@field reply_to? sluice.MailAddress|sluice.MailAddress[]
---@field subject? string
---@field text? string
---@field html? string
---@field headers? table<string, string>
---@field id? string of the message, the same for each attempt
---@field date? number seconds since 1970
---@field recipients? string[] addresses in place of those of to, cc and bcc
---@field url? string SMTP_URL: "smtp://host:587", "smtps://host:465"
---@field user? string SMTP_USER
---@field password? string SMTP_PASSWORD
---@field tls? "starttls"|"tls"|"none"
---@field verify? boolean
---@field timeout? number seconds for one attempt (30)
---@field retries? integer
---@field deadline? number seconds for all attempts

---@class sluice.MailRefusal
---@field address string
---@field status? integer of the server's reply
---@field message? string

---@class sluice.MailSent
---@field id string Message-ID
---@field accepted string[]
---@field refused sluice.MailRefusal[]

---@class sluice.Mail require("sluice.mail")
local mail = {}
---@param options sluice.MailOptions
---@return sluice.MailSent?, string? message, string? code, sluice.MailRefusal[]? refused
function mail.send(options) end
---@param options sluice.MailOptions
---@return boolean?, string? message, string? code
function mail.check(options) end

return mail
