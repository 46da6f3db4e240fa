export * from './deploy-guard';
export * from './guard-acknowledgement';
