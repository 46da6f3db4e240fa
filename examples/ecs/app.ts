import { App, Validations } from 'aws-cdk-lib';
import {
  AwsSolutionsChecks,
  HIPAASecurityChecks,
  NIST80053R4Checks,
  NIST80053R5Checks,
  PCIDSS321Checks,
} from 'cdk-nag';
import { EcsStack } from './ecs-stack';

const app = new App();
for (const pack of [AwsSolutionsChecks, HIPAASecurityChecks, NIST80053R4Checks, NIST80053R5Checks, PCIDSS321Checks]) {
  Validations.of(app).addPlugins(new pack(app));
}
new EcsStack(app, 'Ecs');
app.synth();
