export * from './authority';
export { ensureAuthority, ensureCertificate, rotateCertificate } from './certificate-secrets';
