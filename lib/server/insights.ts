import { aws_rds as rds } from 'aws-cdk-lib';

/** The retention that each mode of Database Insights asks for (OPS-6). */
export function insightRetention(mode: rds.DatabaseInsightsMode): rds.PerformanceInsightRetention {
  return mode === rds.DatabaseInsightsMode.ADVANCED
    ? rds.PerformanceInsightRetention.MONTHS_15
    : rds.PerformanceInsightRetention.DEFAULT;
}
