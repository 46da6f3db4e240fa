import { Duration, aws_cloudwatch as cloudwatch, aws_sns as sns } from 'aws-cdk-lib';

/** The five questions that operating a database asks, in the order of how fatal a wrong answer is; the rows of the dashboard. */
export const QUESTIONS = ['Do not break', 'Do not stop', 'Do not clog', 'Protect', 'Evolve'] as const;
export type Question = (typeof QUESTIONS)[number];

/** An alarm as it is decided: what is watched, from where on it is wrong, and what that means. */
export interface Watched {
  readonly id: string;
  readonly question: Question;
  readonly metric: cloudwatch.IMetric;
  /** Wrong above it, unless `below`. */
  readonly threshold: number;
  readonly below?: boolean;
  /** So many periods in a row. @default 3 */
  readonly periods?: number;
  /** @default - what is missing is not judged: whether anybody looks is the business of one alarm alone */
  readonly missing?: cloudwatch.TreatMissingData;
  /** In one sentence, for who is woken by it. */
  readonly says: string;
}

/** The events of one kind of source. */
export interface WatchedEvents {
  readonly id: string;
  readonly sourceType: 'db-instance' | 'db-cluster';
  readonly sourceIds: string[];
  readonly categories: string[];
}

/** What a kind of server brings to its monitoring. */
export interface PlatformMonitoring {
  readonly watched: Watched[];
  readonly events: WatchedEvents[];
  /** The alarms on its storage, which it may have made before. */
  readonly storage: (topic: sns.ITopic) => cloudwatch.Alarm[];
  /** Whether CloudWatch knows how full the server is with connections. */
  readonly knowsConnections: boolean;
  /** From how much retained WAL on a slot is wrong, in bytes. */
  readonly slotBytes?: number;
}

/** Of a server of which AWS knows nothing. */
export const NOTHING_KNOWN: PlatformMonitoring = {
  watched: [],
  events: [],
  storage: () => [],
  knowsConnections: false,
};

export const FIVE_MINUTES = Duration.minutes(5);
