import { Stack, aws_cloudwatch as cloudwatch } from 'aws-cdk-lib';
import { Construct } from 'constructs';
import { METRIC_NAMESPACE } from '../../contract';
import { Question, QUESTIONS } from './watched';

const WIDTH = 24;

/** What each row asks, in words that say what its graphs are for. */
const ASKS: Readonly<Record<Question, string>> = {
  'Do not break': 'What would lose data: damaged pages, used-up transaction ids, a volume that fills.',
  'Do not stop': 'Whether it answers, and whether what follows it keeps up.',
  'Do not clog': 'What makes everybody wait: load, connections, locks, old transactions, missing vacuum.',
  Protect: 'Whether the inside is as declared, and how passwords are kept.',
  Evolve: 'What is in the way of the next change.',
};

/** A row of each question: the state of its alarms, and each alarm's metric with the line that it must not cross. */
export function serverDashboard(
  scope: Construct,
  path: string,
  identity: string,
  alarms: ReadonlyMap<Question, readonly cloudwatch.Alarm[]>,
): cloudwatch.Dashboard {
  const dashboard = new cloudwatch.Dashboard(scope, 'Dashboard');
  for (const question of QUESTIONS) {
    const own = alarms.get(question) ?? [];
    dashboard.addWidgets(
      new cloudwatch.TextWidget({
        markdown: `## ${question}\n${ASKS[question]}`,
        width: WIDTH,
        height: 2,
        background: cloudwatch.TextWidgetBackground.TRANSPARENT,
      }),
    );
    if (own.length > 0)
      dashboard.addWidgets(
        new cloudwatch.AlarmStatusWidget({
          title: `${path}: alarms`,
          alarms: [...own],
          width: WIDTH,
          height: 2 + Math.ceil(own.length / 4),
        }),
      );
    dashboard.addWidgets(
      ...own.map((alarm) => new cloudwatch.AlarmWidget({ title: titleOf(alarm), alarm, width: 6, height: 5 })),
      ...(question === 'Protect' ? [drift(scope, identity)] : []),
    );
  }
  return dashboard;
}

function titleOf(alarm: cloudwatch.Alarm): string {
  return alarm.node.id.replace(/Alarm(-|$)/, ' ').trim();
}

/** Of every state of the server, whether it is looked for or not. */
function drift(scope: Construct, identity: string): cloudwatch.IWidget {
  return new cloudwatch.GraphWidget({
    title: 'Drift',
    width: 6,
    height: 5,
    left: [
      new cloudwatch.MathExpression({
        expression: `SEARCH('{${METRIC_NAMESPACE},Server,State} MetricName="Drift" Server="${identity}"', 'Maximum')`,
        label: 'Drift',
        usingMetrics: {},
        searchRegion: Stack.of(scope).region,
      }),
    ],
  });
}
