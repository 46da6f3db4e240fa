import { BK_14 } from './bk-14';
import { BK_15 } from './bk-15';
import { BK_2 } from './bk-2';
import { BK_3 } from './bk-3';
import { CP_10 } from './cp-10';
import { HA_1 } from './ha-1';
import { HA_8 } from './ha-8';
import { LIB_12 } from './lib-12';
import { LR_21 } from './lr-21';
import { OPS_12 } from './ops-12';
import { OPS_4 } from './ops-4';
import { OPS_5 } from './ops-5';
import { OPS_6 } from './ops-6';
import { OPS_7 } from './ops-7';
import { Rule } from './rule';
import { SEC_10 } from './sec-10';
import { SEC_11 } from './sec-11';
import { SEC_13 } from './sec-13';
import { SEC_15 } from './sec-15';
import { SEC_15_INGRESS } from './sec-15-ingress';
import { SEC_18 } from './sec-18';
import { SEC_20 } from './sec-20';
import { SEC_21 } from './sec-21';
import { SEC_22 } from './sec-22';
import { SEC_9 } from './sec-9';

export { Rule, RuleViolation } from './rule';

/** Every rule, one a file. */
export const RULES: readonly Rule[] = [
  BK_2,
  BK_3,
  BK_14,
  BK_15,
  CP_10,
  HA_1,
  HA_8,
  LIB_12,
  LR_21,
  OPS_4,
  OPS_5,
  OPS_6,
  OPS_7,
  OPS_12,
  SEC_9,
  SEC_10,
  SEC_11,
  SEC_13,
  SEC_15,
  SEC_15_INGRESS,
  SEC_18,
  SEC_20,
  SEC_21,
  SEC_22,
];
