#!/usr/bin/env lua5.4
--- The command `sluice`: everything is in sluice.cli.
os.exit(require("sluice.cli").main(arg), true)
