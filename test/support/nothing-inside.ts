/** What a database of a test does not declare. */
export const NOTHING_INSIDE = {
  schemas: [],
  grants: [],
  defaultPrivileges: [],
  extensions: [],
  isolations: [],
  publications: [],
  subscriptions: [],
  slots: [],
} as const;
