// The notice window. Written for the browsers of the last ten years, without a framework; every
// text from outside becomes a text node.
(function () {
  'use strict';
  var list = document.getElementById('notices');
  var none = document.getElementById('none');
  var state = document.getElementById('state');
  var quiet = document.getElementById('quiet');
  var alerts = document.getElementById('alerts');
  var say = function (key) { return list.getAttribute('data-' + key) || ''; };
  var rows = {};
  var title = document.title;
  var unseen = 0;

  // What the server wrote into the page is kept only where nothing tells of more.
  var plain = document.getElementById('plain');
  if (!window.EventSource) {
    none.hidden = plain.children.length > 0;
    setTimeout(function () { location.reload(); }, 10000);
    return;
  }
  plain.parentNode.removeChild(plain);

  // The code was good once; it is not left in the address.
  if (location.search && history.replaceState) history.replaceState(null, '', '/workstation/');

  function element(name, text, type) {
    var made = document.createElement(name);
    if (text) made.appendChild(document.createTextNode(text));
    if (type) made.className = type;
    return made;
  }

  // A row is made once and changed in place: what the doctor is about to click must not be replaced
  // under the pointer.
  function row(notice) {
    var made = { line: element('li') };
    var add = function (name, text, type) {
      return made.line.appendChild(element(name, text, type));
    };
    var time = new Date(notice.at);
    var pad = function (n) { return (n < 10 ? '0' : '') + n; };
    add('span', pad(time.getHours()) + ':' + pad(time.getMinutes()), 'time');
    add('strong', notice.patient);
    made.words = add('span');
    made.same = add('em', '', 'same');
    if (!notice.precise) add('span', say('list'), 'list');
    made.newest = add('span', '', 'newest');
    add('a', say('look'), 'look').href = '/workstation/patient/' + notice.id;
    made.seen = add('button', say('seen'));
    made.seen.type = 'button';
    made.seen.onclick = function () { acknowledge(notice.id); };
    return made;
  }

  function change(made, notice) {
    made.line.className = notice.acknowledged ? 'seen' : 'new';
    made.words.textContent =
      notice.studies + ' ' + say('opened') + ' · ' + say('here') + ' ' + notice.here;
    made.same.textContent = notice.same ? say('same') + ' × ' + notice.same : '';
    made.same.hidden = !notice.same;
    var age = notice.days === 0 ? say('today') : notice.days + ' ' + say('ago');
    made.newest.textContent = (notice.newest || '') + (notice.days === null ? '' : ' ' + age);
    made.seen.hidden = notice.acknowledged;
    made.notice = notice;
  }

  function acknowledge(id) {
    var request = new XMLHttpRequest();
    request.open('POST', '/workstation/acknowledge/' + id);
    request.onload = function () {
      if (request.status >= 400) return;
      var made = rows[id];
      if (made.notice.acknowledged) return;
      made.notice.acknowledged = true;
      change(made, made.notice);
      count(-1);
    };
    request.send();
  }

  function count(more) {
    unseen = Math.max(0, unseen + more);
    document.title = unseen ? '(' + unseen + ') ' + title : title;
  }

  function put(notice) {
    var made = rows[notice.id];
    if (!made) {
      made = rows[notice.id] = row(notice);
      list.insertBefore(made.line, list.firstChild);
      none.hidden = true;
    }
    change(made, notice);
  }

  function sound() {
    var Context = window.AudioContext || window.webkitAudioContext;
    if (!Context) return;
    try {
      var context = new Context();
      var tone = context.createOscillator();
      tone.frequency.value = 880;
      tone.connect(context.destination);
      tone.start();
      tone.stop(context.currentTime + 0.15);
    } catch (ignored) { /* A browser without sound, or one that wants a click first. */ }
  }

  function alert(notice) {
    if (quiet.checked || !notice.precise) return;
    var words = notice.studies + ' ' + say('opened');
    var may = window.isSecureContext && window.Notification &&
      Notification.permission === 'granted';
    if (may) new Notification(notice.patient, { body: words, tag: 'forepost-' + notice.id });
    else sound();
    window.focus();
  }

  if (window.isSecureContext && window.Notification && Notification.permission === 'default') {
    alerts.hidden = false;
    alerts.onclick = function () {
      Notification.requestPermission(function () { alerts.hidden = true; });
    };
  }

  function told(event) {
    var notice = JSON.parse(event.data);
    var known = rows[notice.id];
    put(notice);
    if (known || notice.acknowledged) return;
    count(1);
    if (notice['new']) alert(notice);
  }

  function ended(source) {
    source.close();
    // Nothing of a patient stays on the screen.
    document.body.textContent = say('ended');
    document.title = title;
  }

  // A browser gives up on an answer that is no stream: the session has ended, which a page that is
  // loaded again says, or nobody answers, which is tried again.
  function again() {
    setTimeout(function () {
      var probe = new XMLHttpRequest();
      probe.open('GET', '/workstation/');
      probe.onload = function () {
        if (probe.status === 401) location.reload();
        else listen();
      };
      probe.onerror = again;
      probe.send();
    }, 5000 + Math.random() * 10000);
  }

  function listen() {
    var source = new EventSource('/workstation/events');
    source.onopen = function () {
      state.textContent = say('live');
      state.className = 'live';
    };
    source.onerror = function () {
      state.textContent = say('lost');
      state.className = 'lost';
      if (source.readyState === 2) again();
    };
    source.addEventListener('notice', told);
    source.addEventListener('ended', function () { ended(source); });
  }

  listen();
})();
