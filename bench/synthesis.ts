import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { App, Duration, Stack } from 'aws-cdk-lib';
import { SubnetType, Vpc } from 'aws-cdk-lib/aws-ec2';
import { AuroraPostgres, Authentication, PostgresVersion } from '../lib';

/** As many as make the median of a tenth of a second steady. */
const ROUNDS = 41;

/** One app, from its constructs to its files: an Aurora server and so many tenants, whose roles have no password of their own. */
function synthesise(tenants: number): { ms: number; resources: number; templateKb: number } {
  const outdir = fs.mkdtempSync(path.join(os.tmpdir(), 'cdk-postgres-synth-'));
  try {
    const from = performance.now();
    const app = new App({ outdir });
    const stack = new Stack(app, 'Bench', {
      env: { account: '123456789012', region: 'eu-central-1' },
      terminationProtection: true,
    });
    const vpc = new Vpc(stack, 'Vpc', {
      maxAzs: 2,
      natGateways: 0,
      subnetConfiguration: [{ name: 'data', subnetType: SubnetType.PRIVATE_ISOLATED }],
    });
    const server = new AuroraPostgres(stack, 'Postgres', {
      vpc,
      version: PostgresVersion.V17,
      objectives: { rpo: Duration.minutes(5), rto: Duration.minutes(30) },
    });
    server.addVpcEndpoints();
    server.acknowledge({ id: 'OPS-4', reason: 'a benchmark alarms nobody' });
    // The bare server has a database too: what is compared is the tenants.
    const saas = server.addDatabase('saas');
    for (let n = 0; n < tenants; n++) {
      const schema = saas.addSchema(`tenant_${n}`);
      schema.grantReadWrite(saas.addLoginRole(`tenant_${n}`, { authentication: Authentication.iam() }));
    }
    const template = fs.readFileSync(app.synth().getStackByName('Bench').templateFullPath, 'utf8');
    const ms = performance.now() - from;
    const { Resources } = JSON.parse(template) as { Resources: Record<string, unknown> };
    return { ms, resources: Object.keys(Resources).length, templateKb: Math.round(template.length / 1000) };
  } finally {
    fs.rmSync(outdir, { recursive: true });
  }
}

/** The rounds alternate, so that whatever else the machine does meets both alike. */
export function measureSynthesis() {
  process.env.CDK_VALIDATION = 'false';
  synthesise(1);
  synthesise(100);
  const rounds = Array.from({ length: ROUNDS }, () => ({
    bare: synthesise(0),
    one: synthesise(1),
    hundred: synthesise(100),
  }));
  const median = (values: number[]) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
  const ratio = median(rounds.map((r) => r.hundred.ms / r.bare.ms));
  const { bare, one, hundred } = rounds[0];
  return {
    resources: { bareServer: bare.resources, oneTenant: one.resources, hundredTenants: hundred.resources },
    templateKb: { bareServer: bare.templateKb, hundredTenants: hundred.templateKb },
    sameResources: { measured: hundred.resources - one.resources, atMost: 0, met: hundred.resources === one.resources },
    synthMs: {
      bareServer: Math.round(median(rounds.map((r) => r.bare.ms))),
      hundredTenants: Math.round(median(rounds.map((r) => r.hundred.ms))),
    },
    hundredTenantsToBareServer: { measured: Number(ratio.toFixed(3)), atMost: 1.25, met: ratio <= 1.25 },
  };
}
