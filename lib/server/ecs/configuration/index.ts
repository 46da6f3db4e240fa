export * from './hba';
export * from './model';
