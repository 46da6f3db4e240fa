export { HardeningFacts, observeHardening } from './facts';
export { HardeningReport, HardeningState, HardeningVerdict, judgeHardening } from './judge';
