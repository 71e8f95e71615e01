// Reads a solc standard-JSON input on stdin, resolves imports, writes the output JSON to the file named in argv[2].
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const solc = createRequire(import.meta.url)("solc");

function resolveImport(path) {
  if (!path.startsWith("@openzeppelin/contracts/")) return { error: `unknown import ${path}` };
  return { contents: readFileSync(join(here, "node_modules", path), "utf8") };
}

const input = readFileSync(0, "utf8");
// A file, not stdout: a pipe is cut at 64 KiB when the process ends.
writeFileSync(process.argv[2], solc.compile(input, { import: resolveImport }));
