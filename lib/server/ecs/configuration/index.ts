export * from './hba';
export * from './model';
export { dynamicConfiguration } from './patroni';
export * from './tasks';
