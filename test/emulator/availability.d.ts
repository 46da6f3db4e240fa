/** The folder of the emulator. */
export function emulatorFolder(): string;
/** Why no deployment to the emulator is possible here; undefined: it is. */
export function emulatorProblem(): string | undefined;
