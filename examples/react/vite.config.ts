import react from "@vitejs/plugin-react";
import { defineConfig, loadEnv } from "vite";

export default defineConfig(({ mode }) => {
  const target = loadEnv(mode, ".", "SLUICE_").SLUICE_URL ?? "http://127.0.0.1:5121";
  const sluice = { target, changeOrigin: false }; // the server compares a page's origin with its host
  return {
    plugins: [react()],
    worker: { format: "es" }, // of `share: true`: a module
    server: {
      proxy: { "/api": sluice, "/session": sluice },
      fs: { allow: ["../.."] }, // sluice-client and the look of the examples are there
    },
  };
});
