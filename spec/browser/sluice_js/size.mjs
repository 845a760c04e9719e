// Sizes as they are sent at best: minified by esbuild, gzip -9.  node size.mjs <modules> <file…> -> JSON
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const [modules, ...files] = process.argv.slice(2);
const { transformSync } = createRequire(`${modules}/`)("esbuild");
console.log(JSON.stringify(files.map((file) => {
  const { code } = transformSync(readFileSync(file, "utf8"), { minify: true, format: "esm" });
  return gzipSync(code, { level: 9 }).length;
})));
