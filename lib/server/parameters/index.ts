export * from './build-parameters';
export * from './catalogue';
