/** A day to come as `yyyy-mm-dd`: acknowledgements reach no further than a year. */
export function dayIn(days: number): string {
  return new Date(Date.now() + days * 24 * 60 * 60 * 1000).toISOString().slice(0, 10);
}
