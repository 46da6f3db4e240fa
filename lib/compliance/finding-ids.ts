/** Every guard of this library. An acknowledgement of anything else is a misspelling. */
export const FINDING_IDS = [
  'BK-1',
  'BK-2',
  'BK-3',
  'BK-12',
  'BK-15',
  'CP-2',
  'HA-1',
  'HA-8',
  'HA-17',
  'LIB-5',
  'LIB-11',
  'LIB-12',
  'LIB-12.expired',
  'LR-21',
  'OPS-4',
  'OPS-5',
  'OPS-7',
  'OPS-12',
  'SEC-10',
  'SEC-11',
  'SEC-18',
  'SEC-20',
  'SEC-21',
] as const;

export type FindingId = (typeof FINDING_IDS)[number];
