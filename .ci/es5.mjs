// Whether files are ES5, as acorn of build/node parses them: node .ci/es5.mjs <file…>
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const { parse } = createRequire(new URL("../build/node/", import.meta.url))("acorn");
for (const file of process.argv.slice(2)) {
  try {
    parse(readFileSync(file, "utf8"), { ecmaVersion: 5 });
  } catch (error) {
    console.error(`${file}: ${error.message}`);
    process.exitCode = 1;
  }
}
