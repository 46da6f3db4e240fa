import { GuardAcknowledgementLine, GuardedServer } from '../../contract/deploy-guard';

/** Reads what CloudFormation passes on. It drops empty lists and maps on the way, and an emulator does not. */
export function readServers(properties: Readonly<Record<string, unknown>>): GuardedServer[] {
  const servers = properties.Servers ?? [];
  if (!Array.isArray(servers)) throw new Error('the property Servers of the deploy guard is not a list');
  return servers.map((value, index) => {
    const server = record(value);
    for (const key of ['Path', 'LogicalId', 'Type', 'Identifier']) {
      if (typeof server[key] !== 'string' || server[key] === '') {
        throw new Error(`server ${index} of the deploy guard has no ${key}`);
      }
    }
    return { ...server, CreateOnly: record(server.CreateOnly) } as unknown as GuardedServer;
  });
}

export function readAcknowledgements(properties: Readonly<Record<string, unknown>>): GuardAcknowledgementLine[] {
  const lines = properties.Acknowledgements;
  if (!Array.isArray(lines)) return [];
  return lines.map(record).map(({ Id, Reason, Expires }) => ({
    Id: String(Id ?? ''),
    Reason: String(Reason ?? ''),
    Expires: String(Expires ?? ''),
  }));
}

function record(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}
