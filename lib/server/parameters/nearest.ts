/** The names with the fewest edits from `name`, if these are at most `distance`: several where they are equally near. */
export function nearest(name: string, names: Iterable<string>, distance: number): string[] {
  const measured = [...names].map((candidate) => ({ candidate, edits: editDistance(name, candidate) }));
  const fewest = Math.min(distance, ...measured.map(({ edits }) => edits));
  return measured
    .filter(({ edits }) => edits === fewest)
    .map(({ candidate }) => candidate)
    .sort();
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const current = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = previous[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      current.push(Math.min(previous[j]! + 1, current[j - 1]! + 1, substitution));
    }
    previous = current;
  }
  return previous[b.length]!;
}
