/** Where the root folder with the parts from Debian is kept between runs. */
export function clusterFolder(): string;
/** The root folder: what the image of the pooler holds, and what stands around it. */
export function rootFolder(): string;
/** Why the real parts cannot run here; undefined: they can. */
export function clusterProblem(): string | undefined;
