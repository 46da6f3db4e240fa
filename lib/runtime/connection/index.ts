export * from './connect';
export * from './failures';
