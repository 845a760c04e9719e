/** The types of setting.js, for examples/react. */
export interface Setting<T> {
  readonly value: T | undefined;
  readonly settled: boolean;
  readonly saving: boolean;
  heard(version: number, value: T): void;
  hold(value: T): void;
  want(value: T): Promise<void>;
  release(): Promise<void> | undefined;
  reset(): void;
}

export function setting<T>(options: {
  save: (wish: T) => Promise<{ version: number; value: T }>;
  show: (value: T) => void;
  tell?: (how: "saved" | "failed" | "changed", value: T, problem?: Error) => void;
}): Setting<T>;
