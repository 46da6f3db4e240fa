export * from './authentication';
export * from './database';
export * from './group-role';
export * from './login-role';
export * from './predefined-role';
export * from './privilege';
export { IRole, MembershipOptions } from './role';
export * from './schema';
export * from './schema-object';
