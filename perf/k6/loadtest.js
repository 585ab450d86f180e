// A flash sale from 100 browsers: `k6 run perf/k6/loadtest.js`.
//
// Environment: BASE_URL (http://localhost:8080), SUMMARY (a file for the figures as JSON),
// LIST_ACCEPTED (1: log one line `accepted <reservation_id>` for each 202).

import http from 'k6/http';
import exec from 'k6/execution';
import { check } from 'k6';
import { Counter } from 'k6/metrics';

export { options } from './options.js';

const BASE_URL = (__ENV.BASE_URL || 'http://localhost:8080').replace(/\/$/, '');
const LIST_ACCEPTED = __ENV.LIST_ACCEPTED === '1';
const PRODUCT_ID = 1;
const HEADERS = { headers: { 'Content-Type': 'application/json' } };

const accepted = new Counter('answers_202');
const refused = new Counter('answers_400');
const failed = new Counter('answers_5xx');
const other = new Counter('answers_other');

http.setResponseCallback(http.expectedStatuses(202, 400));

/** A base that no other run shares, so that every run has buyers of its own. */
export function setup() {
  // Below 2^53 with room for ten million buyers above it.
  return { base: Math.floor(Math.random() * 900_000_000) * 10_000_000 + 1 };
}

export default function ({ base }) {
  const body = { user_id: base + exec.scenario.iterationInTest, product_id: PRODUCT_ID };
  const response = http.post(`${BASE_URL}/api/buy`, JSON.stringify(body), HEADERS);
  check(response, { 'answer is 202 or 400': ({ status }) => status === 202 || status === 400 });
  if (response.status === 202) {
    accepted.add(1);
    if (LIST_ACCEPTED) console.log(`accepted ${response.json('reservation_id')}`);
  } else if (response.status === 400) {
    refused.add(1);
  } else {
    (response.status >= 500 ? failed : other).add(1);
  }
}

export function handleSummary({ metrics }) {
  const count = (name) => (metrics[name] ? metrics[name].values.count : 0);
  const duration = metrics.http_req_duration.values;
  const figures = {
    requests: count('http_reqs'),
    accepted: count('answers_202'),
    refused: count('answers_400'),
    other: count('answers_5xx') + count('answers_other'),
    rate: metrics.http_reqs.values.rate,
    p50_ms: duration.med,
    p95_ms: duration['p(95)'],
  };
  const broken = Object.entries(metrics).flatMap(([name, metric]) =>
    Object.entries(metric.thresholds || {})
      .filter(([, threshold]) => !threshold.ok)
      .map(([rule]) => `${name}: ${rule}`),
  );
  const lines = [
    `${figures.requests} requests, ${figures.rate.toFixed(0)}/s`,
    `202: ${figures.accepted}   400: ${figures.refused}   other: ${figures.other}`,
    `p50 ${figures.p50_ms.toFixed(1)} ms   p95 ${figures.p95_ms.toFixed(1)} ms`,
    broken.length === 0 ? 'every threshold holds' : `broken: ${broken.join(', ')}`,
  ];
  const output = { stdout: `\n${lines.map((line) => `  ${line}\n`).join('')}\n` };
  if (__ENV.SUMMARY) output[__ENV.SUMMARY] = JSON.stringify(figures);
  return output;
}
