/** What tests of apps use: `import { expectCompliant } from 'cdk-postgres/testing'`. For TypeScript and JavaScript alone. */
export { expectAccess } from './access';
export { AcknowledgedFinding, ComplianceOptions, ComplianceReport, expectCompliant, PackName } from './compliance';
export { PreviewClient, PreviewedServer, PreviewLogin, previewServer, PreviewServerOptions } from './preview';
export { maskTemplate, templateSerializer } from './template';
