export * from './adopt';
export { Existing, OTHER_KINDS, readExisting } from './catalog';
export { writeTypeScript } from './typescript';
