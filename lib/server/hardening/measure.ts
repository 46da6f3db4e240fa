import { HardenedServer } from './hardened-server';

/** How one item is looked for and brought about in the template. */
export interface Measure {
  /** What is not as asked, or undefined: it is in place, or only the deployment knows. */
  readonly missing: (server: HardenedServer) => string | undefined;
  /** Why it cannot be brought about here, and what to do instead. */
  readonly obstacle: (server: HardenedServer) => string | undefined;
  readonly enforce: (server: HardenedServer) => void;
}
