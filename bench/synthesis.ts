export function measureSynthesis() {
  return {};
}
