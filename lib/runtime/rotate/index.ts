export * from './event';
export * from './role-login';
export * from './rotate';
