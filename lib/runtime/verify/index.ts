export * from './account';
export * from './rows';
