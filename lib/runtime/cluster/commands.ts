import { ClusterAnswer, ClusterCommand, ClusterMemberAnswer } from '../../contract';
import { behind, problemsOf } from './judge';
import { memberNamed, OrderError, OrderOptions, restartMember, restartPending, switchOver } from './orders';
import { KnownCluster } from './reference';
import { RestClient } from './rest';
import { ClusterView, look } from './view';

/** Reads what an operator asks for; a field that no command has is refused. */
export function readCommand(value: unknown): ClusterCommand {
  const { command, ...fields } = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const known: Record<ClusterCommand['command'], readonly string[]> = {
    status: [],
    switchover: ['to'],
    restart: ['member', 'pending'],
    reinit: ['member'],
    pause: [],
    resume: [],
  };
  const allowed = Object.entries(known).find(([name]) => name === command)?.[1];
  if (!allowed) throw new OrderError(`the command must be one of ${Object.keys(known).join(', ')}`);
  const unknown = Object.keys(fields).find((key) => !allowed.includes(key));
  if (unknown !== undefined) throw new OrderError(`${String(command)} knows no "${unknown}"`);
  for (const [name, given] of Object.entries(fields)) {
    const type = name === 'pending' ? 'boolean' : 'string';
    if (typeof given !== type)
      throw new OrderError(`"${name}" of ${String(command)} must be a ${type}, and is ${JSON.stringify(given)}`);
  }
  return { command, ...fields } as ClusterCommand;
}

/** Does what an operator asks for, and says how the cluster is after it. */
export async function runCommand(
  rest: RestClient,
  cluster: KnownCluster,
  command: ClusterCommand,
  options: OrderOptions,
): Promise<ClusterAnswer> {
  const done = await obey(rest, cluster, command, options);
  return answerOf(await look(rest, cluster), cluster, done);
}

async function obey(
  rest: RestClient,
  cluster: KnownCluster,
  command: ClusterCommand,
  options: OrderOptions,
): Promise<readonly string[]> {
  switch (command.command) {
    case 'status':
      return [];
    case 'switchover':
      return [`${await switchOver(rest, cluster, { ...options, to: command.to })} leads`];
    case 'restart': {
      if (command.pending && command.member !== undefined)
        throw new OrderError('name a member, or restart those that wait for it, not both');
      if (command.pending) return restartPending(rest, cluster, options);
      if (command.member === undefined) throw new OrderError('name the member, or restart those that wait for it');
      await restartMember(rest, cluster, command.member, options);
      return [`restarted ${command.member}`];
    }
    case 'reinit': {
      const member = memberNamed(cluster, command.member);
      const view = await look(rest, cluster);
      if (view.leaders.includes(member.name))
        throw new OrderError(`${member.name} leads: its data is what the others copy; switch over first`);
      await rest.order(member, 'POST', '/reinitialize', { force: true });
      return [`${member.name} is being made anew; it streams again when its data is copied`];
    }
    case 'pause':
    case 'resume': {
      const pause = command.command === 'pause';
      const view = await look(rest, cluster);
      const asked = cluster.members.find(({ name }) => view.members.has(name)) ?? cluster.members[0]!;
      await rest.order(asked, 'PATCH', '/config', { pause: pause || null });
      await untilPaused(rest, cluster, pause, options.deadline);
      return [
        pause ? 'paused: nobody takes over from a leader that fails' : 'resumed: members fail over by themselves',
      ];
    }
  }
}

/** Each member learns of it in the next turn of its loop. */
async function untilPaused(rest: RestClient, cluster: KnownCluster, pause: boolean, deadline: number): Promise<void> {
  for (;;) {
    const states = await Promise.all(
      cluster.members.map((member) => rest.read(member, '/patroni').catch(() => undefined)),
    );
    if (states.every((state) => state === undefined || (state.pause === true) === pause)) return;
    if (Date.now() + 1_000 > deadline) throw new OrderError('not all members know of it yet; look again');
    await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
}

export function answerOf(view: ClusterView, cluster: KnownCluster, done: readonly string[]): ClusterAnswer {
  const names = cluster.members.map(({ name }) => name);
  return {
    done,
    problems: problemsOf(view, cluster, names),
    paused: view.paused,
    members: names.map((name): ClusterMemberAnswer => {
      const member = view.members.get(name);
      if (!member) return { name, role: 'unknown', state: 'does not answer' };
      return {
        name,
        role: member.leads ? 'leader' : member.synchronous ? 'synchronous standby' : 'standby',
        state: member.leads ? member.state : (member.replication ?? member.state),
        timeline: member.timeline,
        lag: member.leads ? undefined : behind(view, name),
        version: member.version,
        pendingRestart: member.pendingRestart,
      };
    }),
  };
}
