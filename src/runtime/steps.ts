// Steps of which none may keep the others from being taken.

/** Takes every step in order, even after one has thrown; then throws what was thrown first. */
export function takeAllSteps(...steps: (() => unknown)[]): void {
  const errors: unknown[] = [];
  for (const step of steps) {
    try {
      step();
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}
