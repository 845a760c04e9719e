/** Short notes at the edge of the page: toast.info("Saved"), and one <Toaster /> that shows them. */
import { useSyncExternalStore } from "react";

interface Toast {
  id: number;
  kind: "info" | "error";
  message: string;
}

interface ToastOptions {
  position?: string; // one place is enough here
  autoClose?: number | false; // milliseconds
}

const TOASTS_MAX = 4;
let toasts: Toast[] = [];
let counted = 0;
const listeners = new Set<() => void>();

function change(next: Toast[]) {
  toasts = next.slice(-TOASTS_MAX);
  listeners.forEach((listener) => listener());
}

const dismiss = (id: number) => change(toasts.filter((toast) => toast.id !== id));

function show(kind: Toast["kind"], message: string, { autoClose = 5000 }: ToastOptions = {}) {
  const id = ++counted;
  change([...toasts, { id, kind, message }]);
  if (autoClose !== false) setTimeout(dismiss, autoClose, id);
}

export const toast = {
  info: (message: string, options?: ToastOptions) => show("info", message, options),
  error: (message: string, options?: ToastOptions) => show("error", message, options),
};

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

export function Toaster() {
  const list = useSyncExternalStore(subscribe, () => toasts);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {list.map(({ id, kind, message }) => (
        <p key={id} className={`toast ${kind}`}>
          {message}
          <button type="button" className="plain" aria-label="Close" onClick={() => dismiss(id)}>×</button>
        </p>
      ))}
    </div>
  );
}
