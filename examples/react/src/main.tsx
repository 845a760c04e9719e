/** The page. */
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import "../../look/look.css";
import { App } from "./App";
import "./style.css";

createRoot(document.getElementById("root")!).render(<StrictMode><App /></StrictMode>);
