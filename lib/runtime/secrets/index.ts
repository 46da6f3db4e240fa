export * from './connection-secrets';
export * from './role-document';
export * from './role-secrets';
export * from './scram';
export * from './store';
