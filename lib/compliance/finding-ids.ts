import { FIXED_TEXTS, FixedId, HARDENING_TEXTS, HardeningId } from '../contract/hardening';

/** Every guard of this library. An acknowledgement of anything else is a misspelling. */
const GUARD_IDS = [
  'BK-1',
  'BK-2',
  'BK-3',
  'BK-12',
  'BK-13',
  'BK-14',
  'BK-15',
  'CP-1',
  'CP-2',
  'CP-3',
  'CP-3.limit',
  'CP-4',
  'CP-10',
  'CP-10.pause',
  'CP-11',
  'BK-18',
  'HA-1',
  'HA-5',
  'HA-8',
  'HA-17',
  'HA-19',
  'LIB-5',
  'LIB-11',
  'LIB-12',
  'LIB-12.expired',
  'LIB-12.identifier',
  'LR-21',
  'OPS-4',
  'OPS-5',
  'OPS-7',
  'OPS-12',
  'SEC-10',
  'SEC-11',
  'SEC-13',
  'SEC-18',
  'SEC-20',
  'SEC-21',
  'SEC-25',
  'SEC-24',
] as const;

/** What the hardening of a server that exists reports. */
type HardeningFindingId = `hardening.${HardeningId | FixedId}`;

export type FindingId = (typeof GUARD_IDS)[number] | HardeningFindingId;

export const FINDING_IDS: readonly FindingId[] = [
  ...GUARD_IDS,
  ...Object.keys({ ...HARDENING_TEXTS, ...FIXED_TEXTS }).map((id) => `hardening.${id}` as HardeningFindingId),
];
