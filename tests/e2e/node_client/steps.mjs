// What a program in JavaScript does with @kubernetes/client-node: `node steps.mjs STEP NAMESPACE`. Prints what it saw, as JSON.

import { Duplex, PassThrough, Writable } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const [step, namespace] = process.argv.slice(2);

function kept() {
  // A stream that remembers what is written to it; `until` waits for text.
  const waiting = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      stream.text += chunk.toString();
      waiting.forEach((look) => look());
      done();
    },
  });
  stream.text = '';
  stream.until = (wanted) =>
    new Promise((resolve) => {
      const look = () => stream.text.includes(wanted) && resolve(stream.text);
      waiting.push(look);
      look();
    });
  return stream;
}

const map = (name, data) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data });

const deployment = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: 'web' } },
    template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'main', image: 'nginx' }] } },
  },
};

const steps = {
  async verbs() {
    const made = await apps.createNamespacedDeployment({ namespace, body: deployment });
    const listed = await apps.listNamespacedDeployment({ namespace, labelSelector: 'app!=other' });
    const patched = await apps.patchNamespacedDeployment(
      { namespace, name: 'web', body: [{ op: 'replace', path: '/spec/replicas', value: 1 }] },
      k8s.setHeaderOptions('Content-Type', k8s.PatchStrategy.JsonPatch),
    );
    const scale = await apps.readNamespacedDeploymentScale({ namespace, name: 'web' });
    const missing = await core.readNamespacedPod({ namespace, name: 'nobody' }).catch((error) => error);
    const created = made.metadata.creationTimestamp instanceof Date;
    await apps.deleteNamespacedDeployment({ namespace, name: 'web' });
    return {
      created, listed: listed.items.map((item) => item.metadata.name), patched: patched.spec.replicas,
      scale: scale.spec.replicas, missing: [missing.code, JSON.parse(missing.body).reason],
    };
  },

  async apply() {
    const objects = k8s.KubernetesObjectApi.makeApiClient(config);
    const apply = (data, manager) =>
      objects.patch(map('applied', data), undefined, undefined, manager, false, k8s.PatchStrategy.ServerSideApply);
    await apply({ a: '1' }, 'one');
    const both = await apply({ b: '2' }, 'two');
    const conflict = await apply({ a: '3' }, 'two').catch((error) => error);
    return {
      data: both.data, managers: both.metadata.managedFields.map((field) => field.manager).sort(),
      conflict: [conflict.code, JSON.parse(conflict.body).details.causes.map((cause) => cause.field)],
    };
  },

  async informer() {
    // Everything that is there, then every change; after its watch has ended, everything that came meanwhile.
    const seen = [];
    const told = kept();
    const note = (how) => (obj) => {
      if (obj.metadata.name === 'kube-root-ca.crt') return;
      seen.push(`${how} ${obj.metadata.name}`);
      told.write(`${how} ${obj.metadata.name}\n`);
    };
    await core.createNamespacedConfigMap({ namespace, body: map('before', { a: '1' }) });
    const path = `/api/v1/namespaces/${namespace}/configmaps`;
    const informer = k8s.makeInformer(config, path, () => core.listNamespacedConfigMap({ namespace }));
    for (const how of ['add', 'update', 'delete']) informer.on(how, note(how));
    informer.on('error', (error) => {
      seen.push(`error ${error}`);
      informer.start();
    });
    await informer.start();
    await told.until('add before\n');
    await core.createNamespacedConfigMap({ namespace, body: map('during', {}) });
    await told.until('add during\n');
    await core.replaceNamespacedConfigMap({ namespace, name: 'during', body: map('during', { b: '2' }) });
    await told.until('update during\n');
    await core.deleteNamespacedConfigMap({ namespace, name: 'before' });
    await told.until('delete before\n');
    const cached = informer.list().map((obj) => obj.metadata.name).sort();
    const result = { seen: [...seen], cached }; // stopping is an error to it
    await informer.stop();
    return result;
  },

  async watch() {
    // What a label selector chooses, with bookmarks, from the list's revision on.
    const list = await core.listNamespacedConfigMap({ namespace });
    const told = kept();
    let ended;
    const end = new Promise((resolve) => (ended = resolve));
    const request = await new k8s.Watch(config).watch(
      `/api/v1/namespaces/${namespace}/configmaps`,
      { resourceVersion: list.metadata.resourceVersion, labelSelector: 'chosen', allowWatchBookmarks: true },
      (type, obj) => told.write(`${type} ${obj.metadata.name}\n`),
      (error) => ended(error ? error.name : 'quietly'),
    );
    const body = map('chosen', {});
    await core.createNamespacedConfigMap({ namespace, body: { ...body, metadata: { ...body.metadata, labels: { chosen: 'yes' } } } });
    await core.createNamespacedConfigMap({ namespace, body: map('other', {}) });
    await told.until('ADDED chosen\n');
    await core.deleteNamespacedConfigMap({ namespace, name: 'chosen' });
    await told.until('DELETED chosen\n');
    request.abort();
    return { told: told.text.split('\n').filter(Boolean), end: await end };
  },

  async exec() {
    const run = (command) =>
      new Promise((resolve, reject) => {
        const [out, err] = [kept(), kept()];
        new k8s.Exec(config)
          .exec(namespace, 'p', 'main', command, out, err, null, false, (status) =>
            resolve([out.text, err.text, status.status, status.details?.causes?.[0]?.message ?? '']))
          .catch(reject);
      });
    return { good: await run(['cat', 'x']), bad: await run(['fail']) };
  },

  async logs() {
    const [all, followed] = [kept(), kept()];
    const log = new k8s.Log(config);
    await log.log(namespace, 'p', 'main', all, { tailLines: 1 });
    const following = await log.log(namespace, 'p', 'main', followed, { follow: true });
    await followed.until('two\n');
    following.abort();
    await all.until('two\n');
    return { last: all.text, followed: followed.text };
  },

  async forward() {
    // One request to a pod's port; what comes back, or what is said of the failure.
    const [input, output, err] = [new PassThrough(), kept(), kept()];
    const socket = await new k8s.PortForward(config, true).portForward(namespace, 'p', [8080], output, err, input);
    input.write('GET / HTTP/1.0\r\n\r\n');
    const closed = new Promise((resolve) => socket.on('close', resolve));
    await Promise.race([output.until('ahoy'), closed]);
    socket.close();
    return { output: output.text, err: err.text };
  },

  async attach() {
    const out = kept();
    const input = new Duplex({ read() {}, write(_chunk, _encoding, done) { done(); } });
    const socket = await new k8s.Attach(config).attach(namespace, 'echo', 'main', out, null, input, false);
    input.push('across\n');
    await out.until('across');
    socket.close();
    return { out: out.text };
  },
};

console.log(JSON.stringify(await steps[step]()));
process.exit(0);
