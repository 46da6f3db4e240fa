export * from './heartbeat';
export * from './trigger';
