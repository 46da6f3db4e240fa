export { createAuthority, type LocalAuthority as TestAuthority } from '../../lib/runtime/preview/certificates';
